; Interrupts, exceptions and system calls in long mode. Loaded at 8000h, begun in real mode at 0:8000h.
;
; As protected.asm, but a record is 10 qwords: vector, error code (6EEEEEEE: none), saved CS, saved RIP - mark, saved
; RFLAGS, saved RSP, saved SS, where the saved RIP is, CS and SS (in the high half), CR2.

LOG     equ 50000h
PML4    equ 60000h              ; then PDPT, PD, PT
ABSENT  equ 70000h
NOCODE  equ 73000h              ; not to be run
KSTACK  equ 90000h
ISTACK  equ 92000h              ; ring 0 from ring 3
IST1    equ 94000h
IST2    equ 95000h
USTACK  equ 98000h
SSTACK  equ 9a000h              ; SYSENTER's
FLAGS   equ 37300h

KCODE   equ 08h
KDATA   equ 10h
UCODE32 equ 18h + 3
UDATA   equ 20h + 3
UCODE   equ 28h + 3
CONFORM equ 30h
KCODE32 equ 38h
TSS     equ 40h

%macro arm 1
%push case
        mov qword [mark], %1
        mov qword [resume], %$next
%endmacro
%macro done 0
        ud2
%$next:
%pop
%endmacro
%macro ring3 2                  ; code segment, where
        push UDATA
        push USTACK
        push 202h
        push %1
        push %2
        iretq
%endmacro
%macro gate 5                   ; vector, selector, offset, IST, type and level
        mov eax, %3
        mov [idt + %1 * 16], ax
        shr eax, 16
        mov [idt + %1 * 16 + 6], ax
        mov word [idt + %1 * 16 + 2], %2
        mov byte [idt + %1 * 16 + 4], %4
        mov byte [idt + %1 * 16 + 5], %5
        mov qword [idt + %1 * 16 + 8], 0
%endmacro
%macro wrmsr64 2
        mov ecx, %1
        mov rax, strict qword %2
        mov rdx, rax
        shr rdx, 32
        wrmsr
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
%define STUB(vector) (stubs + (vector) * 16)

bits 16
org 8000h
        cli
        xor ax, ax
        mov ds, ax
        mov ss, ax
        mov sp, 7000h
        lgdt [gdtr]
        mov eax, cr0
        or al, 1
        mov cr0, eax
        jmp dword KCODE32:protected
bits 32
protected:
        mov ax, KDATA
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov dword [PML4], PML4 + 1007h
        mov dword [PML4 + 1000h], PML4 + 2007h
        mov dword [PML4 + 2000h], PML4 + 3007h
        mov edi, PML4 + 3000h   ; 2 MiB
        mov eax, 7
.page:  mov [edi], eax
        add edi, 8
        add eax, 1000h
        cmp eax, 200007h
        jb .page
        mov dword [PML4 + 3000h + (ABSENT >> 9)], 0
        mov eax, 20h
        mov cr4, eax
        mov eax, PML4
        mov cr3, eax
        mov ecx, 0c0000080h
        mov eax, 101h           ; LME, SCE
        xor edx, edx
        wrmsr
        mov eax, cr0
        or eax, 80010000h
        mov cr0, eax
        jmp KCODE:sixtyfour
bits 64
sixtyfour:
        mov rsp, KSTACK
        lidt [idtr]
        mov ebx, stubs
        mov edi, idt
        mov ecx, 40h
.gate:  mov [rdi], bx
        mov dword [rdi + 2], KCODE
        mov byte [rdi + 5], 8eh
        add ebx, 16
        add edi, 16
        loop .gate
        mov ax, TSS
        ltr ax
        gate 31h, KCODE, STUB(31h), 0, 0eeh     ; level 3
        gate 32h, KCODE, STUB(32h), 0, 8fh      ; trap gate
        gate 33h, KCODE, STUB(33h), 1, 0eeh     ; IST 1
        gate 34h, CONFORM, STUB(34h), 0, 0eeh   ; stays in the ring
        gate 35h, KCODE32, STUB(35h), 0, 8eh    ; no 64-bit code
        gate 36h, KCODE, STUB(36h), 0, 0eh      ; not present
        gate 37h, KCODE, STUB(37h), 0, 86h      ; a 16-bit gate
        gate 3ah, KCODE, STUB(3ah), 0, 85h      ; a task gate
        gate 3bh, KCODE, STUB(3bh), 0, 8ch      ; a call gate
        gate 38h, KCODE, STUB(38h), 0, 8eh
        mov byte [idt + 38h * 16 + 11], 80h     ; not canonical
        gate 39h, KCODE, escape, 0, 0eeh        ; the way back to ring 0, without a record

        arm .i30                ; within ring 0: the stack is aligned
        push 202h
        popfq
        mov rsp, KSTACK - 7
        int 30h
.i30:   done
        arm .i32
        push 202h
        popfq
        int 32h
.i32:   done
        arm .i33
        int 33h
.i33:   done
        arm u31.after
        ring3 UCODE, u31
u31:    int 31h
.after: done
        arm u33.after
        ring3 UCODE, u33
u33:    int 33h
.after: done
        arm u34.after
        ring3 UCODE, u34
u34:    int 34h
.after: done
        arm c31.after
        ring3 UCODE32, c31
bits 32
c31:    int 31h                 ; from compatibility mode
.after:
bits 64
        done
        arm u30
        ring3 UCODE, u30
u30:    int 30h                 ; #GP of the gate
        done
        arm uabs
        ring3 UCODE, uabs
uabs:   mov [ABSENT + 8], eax   ; #PF 6
        done
        arm .canon
        mov rax, 8000000000000000h
.canon: mov al, [rax]           ; #GP(0)
        done
%macro refused 1
        arm %%int
%%int:  int %1
        done
%endmacro
        refused 35h
        refused 36h
        refused 37h
        refused 38h
        refused 40h             ; beyond the limit
        gate 14, KCODE, STUB(14), 2, 8eh
        arm upf
        mov qword [tss + 4], ABSENT + 800h
        ring3 UCODE, upf
upf:    int 31h                 ; #PF while the frame is pushed
        done
        gate 14, KCODE, STUB(14), 0, 8eh
        gate 8, KCODE, STUB(8), 2, 8eh
        arm .df
        mov rsp, ABSENT + 100h
.df:    mov al, [ABSENT]        ; #PF, #PF while it is delivered: #DF on a stack of its own
        done
        gate 12, KCODE, STUB(12), 2, 8eh
        arm unc
        mov byte [tss + 11], 80h
        ring3 UCODE, unc
unc:    int 31h                 ; a stack that is not canonical: #SS(0)
        done
        mov qword [tss + 4], ISTACK

; -- system calls
        wrmsr64 0c0000081h, (((UCODE32) << 16) | KCODE) << 32
        wrmsr64 0c0000082h, system
        wrmsr64 0c0000083h, compat
        wrmsr64 0c0000084h, 200h
        arm usys.after
        ring3 UCODE, usys
usys:   o64 syscall             ; with a prefix, as compilers write it
.after: done
        arm ccsys.after
        ring3 UCODE32, ccsys
bits 32
ccsys:  syscall
.after:
bits 64
        done
        arm ureturn.back
        mov qword [returns], 1
        ring3 UCODE, ureturn
ureturn:
        syscall
        int 31h                 ; after SYSRET
.back:  done
        arm unosys
        wrmsr64 0c0000080h, 500h
        ring3 UCODE, unosys
unosys: syscall                 ; without SCE: #UD
        done
        wrmsr64 174h, KCODE
        wrmsr64 175h, SSTACK
        wrmsr64 176h, enter
        arm 0
        ring3 UCODE, uenter
uenter: sysenter
        done
        wrmsr64 174h, 0
        arm uenter0
        ring3 UCODE, uenter0
uenter0: sysenter               ; #GP(0)
        done
; -- more
        refused 3ah
        refused 3bh
        mov al, 11h             ; the 8259A: vectors from 20h
        out 20h, al
        mov al, 20h
        out 21h, al
        mov al, 4
        out 21h, al
        mov al, 1
        out 21h, al
        gate 20h, KCODE, STUB(20h), 0, 8eh
        arm uirq
        irq_soon
        ring3 UCODE, uirq
uirq:   jmp uirq                ; IRQ 0 in ring 3
        done
        arm cirq
        irq_soon
        ring3 UCODE32, cirq
bits 32
cirq:   jmp cirq                ; and in compatibility mode
bits 64
        done
        gate 20h, KCODE, STUB(20h), 1, 8eh
        arm .kirq
        irq_soon
        sti
.kirq:  jmp .kirq               ; in ring 0, on IST 1
        done
        gate 20h, KCODE, STUB(20h), 0, 0eh
        arm .irqnp
        irq_soon
        sti
.irqnp: jmp .irqnp              ; whose gate is not present: #NP with EXT
        done
        mov dword [PML4 + 3000h + (NOCODE >> 9) + 4], 80000000h
        mov rax, cr3
        mov cr3, rax
        wrmsr64 0c0000080h, 0d00h       ; NXE
        arm NOCODE
        ring3 UCODE, NOCODE     ; #PF: user, present, fetched
        done
        wrmsr64 0c0000080h, 500h
        mov rax, cr3
        mov cr3, rax
        arm .rsvd
.rsvd:  mov al, [NOCODE]        ; without NXE that bit is reserved: #PF of it
        done
        mov dword [LOG + 4], 600dh
        lidt [nothing]
        int 30h

system: mov qword [kind], 0ca11h
        jmp called
compat: mov qword [kind], 0ca32h
called: cmp qword [returns], 0
        je .log
        mov qword [returns], 0
        o64 sysret
.log:   mov edi, LOG + 16       ; vector, R11, CS, RCX - mark, RFLAGS now, RSP, SS, -, CS and SS, 0
        add edi, [LOG]
        add dword [LOG], 80
        mov rax, [kind]
        mov [rdi], rax
        and r11, FLAGS
        mov [rdi + 8], r11
        mov eax, cs
        mov [rdi + 16], rax
        sub rcx, [mark]
        mov [rdi + 24], rcx
        mov [rdi + 40], rsp
        mov rsp, KSTACK
        pushfq
        pop rax
        and eax, FLAGS
        mov [rdi + 32], rax
        mov eax, ss
        mov [rdi + 48], rax
        jmp escape
enter:  mov qword [kind], 5e5e5e5eh
        xor r11, r11
        xor ecx, ecx
        jmp called.log

record: push rbp
        mov rbp, rsp            ; rbp: vector, error, RIP, CS, RFLAGS, RSP, SS
        push rax
        push rdx
        push rdi
        mov edi, LOG + 16
        add edi, [LOG]
        add dword [LOG], 80
        mov rax, [rbp + 8]
        mov [rdi], rax
        mov eax, [rbp + 16]
        mov [rdi + 8], rax
        mov rax, [rbp + 32]
        mov [rdi + 16], rax
        mov rax, [rbp + 24]
        sub rax, [mark]
        mov [rdi + 24], rax
        mov rax, [rbp + 40]
        and eax, FLAGS
        mov [rdi + 32], rax
        mov rax, [rbp + 48]
        mov [rdi + 40], rax
        mov rax, [rbp + 56]
        mov [rdi + 48], rax
        lea rax, [rbp + 24]
        mov [rdi + 56], rax
        mov eax, cs
        mov [rdi + 64], eax
        mov eax, ss
        mov [rdi + 68], eax
        mov eax, cs
        test al, 3
        jz .ring0
        int 39h
.ring0: mov rax, cr2
        mov [rdi + 72], rax
escape: mov eax, KDATA
        mov ss, ax
        mov ds, ax
        mov es, ax
        mov rsp, KSTACK
        push 2
        popfq
        xor eax, eax
        mov cr2, rax
        jmp [resume]

align 16
stubs:
%assign vector 0
%rep 40h
        times (vector * 16 - ($ - stubs)) nop
%if vector != 8 && (vector < 10 || vector > 14) && vector != 17
        push strict dword 6eeeeeeeh
%endif
        push strict dword vector
        jmp near record
%assign vector vector + 1
%endrep
        times (vector * 16 - ($ - stubs)) nop
align 16
idt:    times 40h * 16 db 0
gdt:    dq 0
        dq 00209b0000000000h    ; KCODE
        dq 00cf93000000ffffh    ; KDATA
        dq 00cffb000000ffffh    ; UCODE32
        dq 00cff3000000ffffh    ; UDATA
        dq 0020fb0000000000h    ; UCODE
        dq 00209f0000000000h    ; CONFORM
        dq 00cf9b000000ffffh    ; KCODE32
        dw 103, tss
        dd 00008900h
        dq 0
gdtr:   dw $ - gdt - 1
        dd gdt
idtr:   dw 40h * 16 - 1
        dq idt
nothing: dw 0
        dq 0
align 8
mark:   dq 0
resume: dq 0
kind:   dq 0
returns: dq 0
tss:    dd 0
        dq ISTACK, 0, 0, 0, IST1, IST2, 0, 0, 0, 0, 0, 0
        times 104 - ($ - tss) db 0
