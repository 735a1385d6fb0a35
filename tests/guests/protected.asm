; Interrupts and exceptions in real, protected and virtual-8086 mode. Loaded at 8000h, begun in real mode at 0:8000h.
;
; Each case arms `mark`, the EIP that must be saved, and `resume`, where it goes on; what handles the event puts a
; record into the log and goes on there, in ring 0. A record is 14 dwords: vector, error code (EEEEEEEE: none), saved CS,
; saved EIP - mark, saved EFLAGS, CS, SS, where the saved EIP is, saved ESP and SS (where the ring changed), DS at entry,
; saved GS (from virtual-8086 mode), EFLAGS at entry, CR2. The test knows what each must be.

LOG     equ 50000h              ; dword: bytes used; records from +16
REAL    equ 4f000h              ; the record of real mode, words
PD      equ 60000h
PT      equ 61000h
ABSENT  equ 70000h              ; pages: not present, read-only, supervisor's
READ    equ 71000h
SUPER   equ 72000h
IDT     equ ABSENT - 0deh * 8   ; vectors DEh and DFh lie in the page that is not present
KSTACK  equ 90000h              ; stacks: the cases', ring 0, 1 and 2 from outside, ring 3, the task's
ISTACK  equ 92000h
RSTACK  equ 94000h
QSTACK  equ 96000h
USTACK  equ 98000h
TSTACK  equ 9a000h
FLAGS   equ 37300h              ; what of EFLAGS is logged: VM RF NT IOPL IF TF
NONE    equ 0eeeeeeeeh

KCODE   equ 08h
KDATA   equ 10h
UCODE   equ 18h + 3
UDATA   equ 20h + 3
RCODE   equ 28h + 1
RDATA   equ 30h + 1
CONFORM equ 38h
CODE16  equ 40h
NOCODE  equ 48h                 ; not present
NODATA  equ 50h
TSS     equ 58h
TASK    equ 60h
TASK16  equ 68h
LDT     equ 70h
SDATA   equ 78h                 ; a stack with 16-bit addresses
QCODE   equ 80h + 2
QDATA   equ 88h + 2
BEYOND  equ 0f8h                ; not in the table
LCODE   equ 0ch                 ; in the LDT

%macro arm 1                    ; the event must save EIP = %1
%push case
        mov dword [mark], %1
        mov dword [resume], %$next
%endmacro
%macro done 0                   ; and is over
        ud2                     ; nothing may come here
%$next:
%pop
%endmacro
%macro ring 4                   ; go on in an outer ring: code, data, stack, where
        push dword %2
        push dword %3
        pushfd
        push dword %1
        push dword %4
        iretd
%endmacro
%macro ring3 1                  ; in ring 3
        ring UCODE, UDATA, USTACK, %1
%endmacro
%macro irq_soon 0               ; IRQ 0 in 100 periods of the 8254, vector 20h; all before is over
        mov al, 20h
        out 20h, al
        mov al, 0feh
        out 21h, al
        mov al, 30h
        out 43h, al
        mov al, 100
        out 40h, al
        mov al, 0
        out 40h, al
%endmacro
%macro virtual 2-3 0            ; go on at 800h:%1 - 8000h in virtual-8086 mode with IOPL %2 and further flags %3
        push dword 4444h
        push dword 3333h
        push dword 2222h
        push dword 1111h
        push dword 9000h
        push dword 0ffeh
        push dword 20002h + %2 * 1000h + %3
        push dword 800h
        push dword %1 - 8000h
        iretd
%endmacro
%macro gate 4                   ; vector, selector, offset, type and level
        mov eax, %3
        mov [IDT + %1 * 8], ax
        shr eax, 16
        mov [IDT + %1 * 8 + 6], ax
        mov word [IDT + %1 * 8 + 2], %2
        mov word [IDT + %1 * 8 + 4], %4 << 8
%endmacro
%define STUB(vector) (stubs + (vector) * 16)

bits 16
org 8000h
start:  cli
        xor ax, ax
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov sp, 7000h
        mov word [21h * 4], realint
        mov word [21h * 4 + 2], 0
        mov word [0 * 4], realdiv
        mov word [0 * 4 + 2], 0
        mov ax, REAL >> 4
        mov es, ax
        xor di, di
        cld
        sti
        int 21h                 ; saves what is behind it
back:   xor bx, bx
divide: div bx                  ; saves where it is
divided:
        cli
        lgdt [gdtr]
        mov eax, cr0
        or al, 1
        mov cr0, eax
        jmp dword KCODE:protected

realdiv:
        push bp
        mov bp, sp
        mov bx, divide
        call realrec
        mov word [bp + 2], divided
        pop bp
        iret
realint:
        push bp
        mov bp, sp
        mov bx, back
        call realrec
        pop bp
        iret
realrec:                        ; IP - bx, CS, FLAGS, FLAGS now, where IP is
        mov ax, [bp + 2]
        sub ax, bx
        stosw
        mov ax, [bp + 4]
        stosw
        mov ax, [bp + 6]
        and ax, 7300h
        stosw
        pushf
        pop ax
        and ax, 7300h
        stosw
        lea ax, [bp + 2]
        stosw
        ret

bits 32
protected:
        mov ax, KDATA
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov esp, KSTACK
        mov edi, PT             ; 4 MiB as they are, but for three pages
        mov eax, 7
        mov ecx, 1024
.page:  stosd
        add eax, 1000h
        loop .page
        mov dword [PD], PT + 7
        mov dword [PT + (ABSENT >> 10)], 0
        mov dword [PT + (READ >> 10)], READ + 5
        mov dword [PT + (SUPER >> 10)], SUPER + 3
        mov eax, PD
        mov cr3, eax
        mov eax, cr0
        or eax, 80010000h       ; PG, WP
        mov cr0, eax
        lidt [idtr]
        mov edi, IDT            ; interrupt gates of level 0
        mov ebx, stubs
        mov ecx, 0deh
.gate:  mov eax, ebx
        stosw
        mov ax, KCODE
        stosw
        mov ax, 8e00h
        stosw
        mov eax, ebx
        shr eax, 16
        stosw
        add ebx, 16
        loop .gate
        gate 3, KCODE, STUB(3), 0efh            ; INT3, a trap gate of level 3
        gate 4, KCODE, STUB(4), 0eeh            ; INTO
        gate 31h, KCODE, STUB(31h), 0eeh        ; level 3
        gate 32h, KCODE, STUB(32h), 8fh         ; trap gate
        gate 33h, RCODE, STUB(33h), 0eeh        ; to ring 1
        gate 34h, CONFORM, STUB(34h), 0eeh      ; stays in the ring
        gate 35h, TASK, 0, 0e5h                 ; task gates
        gate 36h, CODE16, stub36, 86h           ; 16-bit gates
        gate 37h, CODE16, stub37, 87h
        gate 38h, LCODE, STUB(38h), 8eh
        gate 39h, KCODE, escape, 0eeh           ; the way back to ring 0, without a record
        gate 3ah, TASK16, 0, 85h
        gate 3bh, UCODE, STUB(3bh), 0eeh        ; an outer ring
        gate 3ch, KCODE, STUB(3ch), 0eh         ; not present
        gate 3dh, KCODE, STUB(3dh), 8ch         ; a call gate
        gate 3eh, 0, STUB(3eh), 8eh             ; null
        gate 3fh, BEYOND, STUB(3fh), 8eh
        gate 40h, KDATA, STUB(40h), 8eh         ; data
        gate 41h, NOCODE, STUB(41h), 8eh
        gate 42h, KDATA, 0, 85h                 ; a task gate without a task
        gate 43h, CODE16, stub43, 0e6h          ; a 16-bit gate of level 3
        gate 44h, QCODE, STUB(44h), 0eeh        ; to ring 2
        mov ax, TSS
        ltr ax
        mov ax, LDT
        lldt ax
        mov ebx, 0b0b0b0bh      ; until a task is switched to

; -- gates within ring 0
        push dword 202h
        popfd
        arm .i30
        int 30h
.i30:   done
        push dword 202h
        popfd
        arm .i32
        int 32h
.i32:   done
        arm .i36
        int 36h
.i36:   done
        push dword 202h
        popfd
        arm .i37
        int 37h
.i37:   done
        arm .i38
        int 38h
.i38:   done
        arm .i16
        mov ax, SDATA           ; only SP moves
        mov ss, ax
        mov esp, 70000080h
        int 30h
.i16:   done
        arm .wrap
        mov ax, SDATA           ; and wraps
        mov ss, ax
        mov esp, 4
        int 30h
.wrap:  done

; -- from ring 3
        arm u31.after
        push dword 202h
        popfd
        ring3 u31
u31:    int 31h
.after: done
        arm u3.after
        push dword 202h
        popfd
        ring3 u3
u3:     int3
.after: done
        arm u33.after
        ring3 u33
u33:    int 33h
.after: done
        arm u34.after
        ring3 u34
u34:    int 34h
.after: done
        arm u30
        ring3 u30
u30:    int 30h                 ; level 0: #GP of the gate, at the instruction
        done
        arm ucli
        ring3 ucli
ucli:   cli                     ; #GP(0)
        done
        arm uread
        ring3 uread
uread:  mov al, [SUPER]         ; #PF 5
        done
        arm uwrite
        ring3 uwrite
uwrite: mov [READ], al          ; #PF 7
        done
        arm uabs
        ring3 uabs
uabs:   mov [ABSENT + 44h], al  ; #PF 6
        done
        arm uirq
        mov al, 11h             ; the 8259A: vectors from 20h, IRQ 0 only
        out 20h, al
        mov al, 20h
        out 21h, al
        mov al, 4
        out 21h, al
        mov al, 1
        out 21h, al
        mov al, 0feh
        out 21h, al
        mov al, 30h             ; the 8254: once, in 100 periods
        out 43h, al
        mov al, 100
        out 40h, al
        mov al, 0
        out 40h, al
        push dword 202h
        popfd
        ring3 uirq
uirq:   jmp uirq
        done
        mov al, 0ffh
        out 21h, al

; -- faults in ring 0
        arm .de
        xor ecx, ecx
.de:    div ecx
        done
        arm .db
        push dword 102h
        popfd                   ; TF: after the next instruction
        nop
.db:    done
        arm .of
        mov al, 7fh
        add al, 1
        into
.of:    done
        arm .ud
.ud:    ud2
        done
        arm .gp
        mov ax, BEYOND
.gp:    mov fs, ax
        done
        arm .np
        mov ax, NODATA
.np:    mov fs, ax
        done
        arm .ss
        mov ax, NODATA
.ss:    mov ss, ax
        done
        arm .pf0
.pf0:   mov al, [ABSENT + 123h]
        done
        arm .pf2
.pf2:   mov [ABSENT + 124h], al
        done
        arm .pf3
.pf3:   mov [READ + 8], al      ; WP
        done

; -- gates that cannot be gone through: at the instruction
%macro refused 1
        arm %%int
%%int:  int %1
        done
%endmacro
        refused 3ch             ; #NP
        refused 3dh             ; #GP
        refused 3eh
        refused 3fh
        refused 40h
        refused 41h
        refused 42h
        refused 0e0h            ; beyond the limit
        refused 0deh            ; #PF at the gate itself
        refused 3bh             ; #GP: an outer ring

; -- tasks
        arm .t35
        int 35h
.t35:   done
        arm .t3a
        int 3ah
.t3a:   done
        arm .iret
        mov dword [nested], 1
        mov ebx, 12345678h
        int 35h                 ; and back by IRET
        mov dword [nested], 0
        int 32h                 ; which is seen here
.iret:  done
        gate 10, TASK, 0, 85h
        arm uts
        mov dword [tss + 8], KCODE
        ring3 uts
uts:    int 31h                 ; #TS, with its error code on the task's stack
        done
        arm uts2
        mov dword [tss + 8], 0
        ring3 uts2
uts2:   int 31h                 ; #TS(0): no stack
        done
        mov dword [tss + 8], KDATA
        gate 14, TASK, 0, 85h
        arm upf
        mov dword [tss + 4], ABSENT + 800h
        ring3 upf
upf:    int 31h                 ; #PF while the frame is pushed
        done
        mov dword [tss + 4], ISTACK
        gate 14, KCODE, STUB(14), 8eh

; -- double faults
        gate 13, KCODE, STUB(13), 0eh
        arm .df
        mov ax, BEYOND
.df:    mov fs, ax              ; #GP, whose gate is not present
        done
        gate 13, KCODE, STUB(13), 8eh
        gate 8, TASK, 0, 85h
        arm .df2
        mov esp, ABSENT + 100h
.df2:   mov al, [ABSENT]        ; #PF, and #PF while it is delivered
        done

; -- virtual-8086 mode
        arm v40.after - 8000h
        gate 40h, KCODE, STUB(40h), 0eeh
        virtual v40, 3
bits 16
v40:    int 40h
.after:
bits 32
        done
        arm v40b - 8000h
        virtual v40b, 0
bits 16
v40b:   int 40h                 ; IOPL 0: #GP(0)
bits 32
        done
        arm vcli - 8000h
        virtual vcli, 0
bits 16
vcli:   cli                     ; the same
bits 32
        done
        arm vud - 8000h
        virtual vud, 3
bits 16
vud:    ud2
bits 32
        done
        arm v3b - 8000h
        virtual v3b, 3
bits 16
v3b:    int 3bh                 ; a gate that does not lead to ring 0: #GP of its code
bits 32
        done
        arm vtask.after - 8000h
        virtual vtask, 3
bits 16
vtask:  int 35h                 ; a task gate
.after:
bits 32
        done

; -- rings, once more
        arm u43.after
        ring3 u43
u43:    int 43h                 ; a 16-bit gate: a frame of words on the stack of ring 0
.after: done
        arm u16.after
        mov word [task16 + 2], 7400h
        mov word [task16 + 4], KDATA
        mov ax, TASK16
        ltr ax
        ring3 u16
u16:    int 31h                 ; the stack of ring 0 is a 16-bit task-state segment's
.after: done
        arm u44.after
        ring3 u44
u44:    int 44h                 ; from ring 3 to ring 2
.after: done
        arm q31.after
        ring QCODE, QDATA, QSTACK, q31
q31:    int 31h                 ; from ring 2 to ring 0
.after: done
        arm q33.after
        ring QCODE, QDATA, QSTACK, q33
q33:    int 33h                 ; from ring 2 to ring 1
.after: done
        arm r31.after
        ring RCODE, RDATA, RSTACK, r31
r31:    int 31h                 ; from ring 1 to ring 0
.after: done
        arm r33.after
        ring RCODE, RDATA, RSTACK, r33
r33:    int 33h                 ; within ring 1
.after: done
        arm virq - 8000h
        irq_soon
        virtual virq, 0, 200h
bits 16
virq:   jmp virq                ; IRQ 0 in virtual-8086 mode, whatever IOPL is
bits 32
        done

; -- faults, once more
        arm uabs2
        ring3 uabs2
uabs2:  mov al, [ABSENT + 48h]  ; #PF 4
        done
        arm .nm
        mov eax, cr0
        or al, 8                ; TS
        mov cr0, eax
.nm:    fld1
        done
        arm .br
        mov eax, 5
.br:    bound eax, [bounds]
        done
        gate 12, TASK, 0, 85h
        arm uss
        mov dword [tss + 8], NODATA
        ring3 uss
uss:    int 31h                 ; #SS of the stack segment, which is not present
        done
        mov dword [tss + 8], KDATA
        gate 12, KCODE, STUB(12), 8eh
        gate 6, KCODE, STUB(6), 0eh
        arm .udnp
.udnp:  ud2                     ; #UD, whose gate is not present: #NP with EXT
        done
        gate 6, KCODE, STUB(6), 8eh
        gate 3, KCODE, STUB(3), 6fh
        arm .i3np
.i3np:  int3                    ; #NP without EXT, at an instruction of one byte
        done
        gate 3, KCODE, STUB(3), 0efh
        gate 20h, KCODE, STUB(20h), 0eh
        arm .irqnp
        irq_soon
        sti
.irqnp: jmp .irqnp              ; IRQ 0, whose gate is not present: #NP with EXT
        done
        gate 20h, KCODE, STUB(20h), 8eh

; -- the end: a fault in a double fault
        mov dword [LOG + 4], 600dh
        lidt [nothing]
        int 30h

; -- what handles the events
record: push ebp                ; ebp: vector, error, EIP, CS, EFLAGS, ESP, SS, ES, DS, FS, GS
        mov ebp, esp
        push eax
        mov ax, ss
        cmp ax, SDATA
        jne .wide
        movzx ebp, bp
.wide:  push edx
        push edi
        pushfd
        mov dx, ds
        mov ax, UDATA
        mov ds, ax
        mov edi, LOG + 16
        add edi, [LOG]
        add dword [LOG], 14 * 4
        mov eax, [ss:ebp + 4]
        mov [edi], eax
        mov eax, [ss:ebp + 8]
        mov [edi + 4], eax
        mov eax, [ss:ebp + 16]
        mov [edi + 8], eax
        mov eax, [ss:ebp + 12]
        sub eax, [mark]
        mov [edi + 12], eax
        mov eax, [ss:ebp + 20]
        and eax, FLAGS
        mov [edi + 16], eax
        mov eax, cs
        mov [edi + 20], eax
        mov eax, ss
        mov [edi + 24], eax
        lea eax, [esp + 16 + 12]
        mov [edi + 28], eax
        mov [edi + 40], dx
        pop eax
        and eax, FLAGS
        mov [edi + 48], eax
        mov eax, [ss:ebp + 16]
        mov edx, cs
        xor eax, edx
        and eax, 3
        jnz .outer
        test dword [ss:ebp + 20], 20000h
        jz .same
        mov eax, [ss:ebp + 44]
        mov [edi + 44], eax
.outer: test dword [ss:ebp + 20], 20000h
        jz .stack
        mov eax, [ss:ebp + 44]
        mov [edi + 44], eax
.stack: mov eax, [ss:ebp + 24]
        mov [edi + 32], eax
        mov eax, [ss:ebp + 28]
        mov [edi + 36], eax
.same:  mov eax, cs
        test al, 3
        jz .ring0
        int 39h
.ring0: mov eax, cr2
        mov [edi + 52], eax
escape: mov ax, KDATA
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov esp, KSTACK
        push dword 2
        popfd
        xor eax, eax
        mov cr2, eax
        mov fs, ax
        mov gs, ax
        str ax
        cmp ax, TSS
        je .task
        mov byte [gdt + TSS + 5], 89h
        mov byte [gdt + TASK + 5], 89h
        mov byte [gdt + TASK16 + 5], 81h
        mov ax, TSS
        ltr ax
        mov ax, LDT
        lldt ax
.task:  clts
        mov dword [task + 20h], taskentry
        mov dword [task + 38h], TSTACK
        jmp [resume]

taskentry:                      ; vector A5h, error code, the task before, its EIP - mark, its EFLAGS, CS, SS, ESP,
        mov edi, LOG + 16       ; TR, CR0.TS, DS, EBX of the task before, EFLAGS, CR2
        add edi, [LOG]
        add dword [LOG], 14 * 4
        mov dword [edi], 0a5h
        mov dword [edi + 4], NONE
        cmp esp, TSTACK
        je .bare
        mov eax, [esp]
        mov [edi + 4], eax
.bare:  movzx eax, word [task]
        mov [edi + 8], eax
        mov eax, [tss + 20h]
        sub eax, [mark]
        mov [edi + 12], eax
        mov eax, [tss + 24h]
        and eax, FLAGS
        mov [edi + 16], eax
        mov eax, cs
        mov [edi + 20], eax
        mov eax, ss
        mov [edi + 24], eax
        mov [edi + 28], esp
        xor eax, eax
        str ax
        mov [edi + 32], eax
        mov eax, cr0
        and eax, 8
        mov [edi + 36], eax
        mov eax, ds
        mov [edi + 40], eax
        mov eax, [tss + 34h]
        mov [edi + 44], eax
        pushfd
        pop eax
        and eax, FLAGS
        mov [edi + 48], eax
        mov eax, cr2
        mov [edi + 52], eax
        cmp dword [nested], 0
        je escape
        iretd
        jmp taskentry

bits 16
%macro stub16 2                 ; a frame of words: vector, whether the ring changed
        pushad
        mov bp, ds
        mov ax, KDATA
        mov ds, ax
        mov edi, LOG + 16
        add edi, [dword LOG]
        add dword [dword LOG], 14 * 4
        mov dword [edi], %1
        mov dword [edi + 4], NONE
        movzx eax, word [esp + 34]
        mov [edi + 8], eax
        movzx eax, word [esp + 32]
        movzx edx, word [dword mark]
        sub eax, edx
        mov [edi + 12], eax
        movzx eax, word [esp + 36]
        and eax, FLAGS
        mov [edi + 16], eax
        mov eax, cs
        mov [edi + 20], eax
        mov eax, ss
        mov [edi + 24], eax
        lea eax, [esp + 32]
        mov [edi + 28], eax
%if %2
        movzx eax, word [esp + 38]
        mov [edi + 32], eax
        movzx eax, word [esp + 40]
        mov [edi + 36], eax
%endif
        movzx eax, bp
        mov [edi + 40], eax
        pushfd
        pop eax
        and eax, FLAGS
        mov [edi + 48], eax
        jmp dword KCODE:escape
%endmacro
stub36: stub16 36h, 0
stub37: stub16 37h, 0
stub43: stub16 43h, 1
task16entry:
        mov edi, LOG + 16
        add edi, [dword LOG]
        add dword [dword LOG], 14 * 4
        mov dword [edi], 0a6h
        mov dword [edi + 4], NONE
        movzx eax, word [dword task16]
        mov [edi + 8], eax
        mov eax, [dword tss + 20h]
        sub eax, [dword mark]
        mov [edi + 12], eax
        mov eax, cs
        mov [edi + 20], eax
        mov eax, ss
        mov [edi + 24], eax
        mov [edi + 28], esp
        xor eax, eax
        str ax
        mov [edi + 32], eax
        mov [edi + 44], ecx
        jmp dword KCODE:escape
bits 32

align 16
stubs:
%assign vector 0
%rep 0deh
        times (vector * 16 - ($ - stubs)) nop
%if vector != 8 && (vector < 10 || vector > 14) && vector != 17
        push dword NONE
%endif
        push dword vector
        jmp near record
%assign vector vector + 1
%endrep
        times (vector * 16 - ($ - stubs)) nop

align 8
gdt:    dq 0
        dq 00cf9b000000ffffh    ; KCODE
        dq 00cf93000000ffffh    ; KDATA
        dq 00cffb000000ffffh    ; UCODE
        dq 00cff3000000ffffh    ; UDATA
        dq 00cfba000000ffffh    ; RCODE, not accessed yet
        dq 00cfb2000000ffffh    ; RDATA
        dq 00cf9f000000ffffh    ; CONFORM
        dq 00009b000000ffffh    ; CODE16
        dq 00cf1b000000ffffh    ; NOCODE
        dq 00cf13000000ffffh    ; NODATA
        dw 103, tss
        dd 00008900h
        dw 103, task
        dd 00008900h
        dw 43, task16
        dd 00008100h
        dw 15, ldt
        dd 00008200h
        dq 000093080000ffffh    ; SDATA, at 80000h
        dq 00cfdb000000ffffh    ; QCODE
        dq 00cfd3000000ffffh    ; QDATA
gdtr:   dw $ - gdt - 1
        dd gdt
idtr:   dw 0e0h * 8 - 1
        dd IDT
nothing: dw 0
        dd 0
ldt:    dq 0
        dq 00cf9b000000ffffh
align 4
mark:   dd 0
resume: dd 0
nested: dd 0
bounds: dd 0, 1
tss:    dd 0, ISTACK, KDATA, RSTACK, RDATA, QSTACK, QDATA, PD
        times 104 - ($ - tss) db 0
task:   dd 0, 0, 0, 0, 0, 0, 0, PD, taskentry, 2, 0, 0, 0, 0, TSTACK, 0, 0, 0
        dd KDATA, KCODE, KDATA, KDATA, 0, 0, 0, 104 << 16
        times 104 - ($ - task) db 0
task16: dw 0, 0, 0, 0, 0, 0, 0, task16entry, 2, 0, 0c16h, 0, 0, 7800h, 0, 0, 0
        dw KDATA, CODE16, KDATA, KDATA, 0
        times 44 - ($ - task16) db 0
