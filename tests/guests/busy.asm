; A guest that is never idle for long, in all modes: real mode, 32-bit protected mode, long mode, and round again.
; Loaded at 8000h, begun in real mode at 0:8000h. It takes IRQ 0 (8254, 1 kHz) in each mode, waits for some with HLT and
; for some with work, reads and writes sectors of the disk by IRQ 14, and talks on the serial port.
;
; 500h: rounds wanted, word. 504h: dword, ticks of IRQ 0. 508h: sectors. 510h: a checksum. After the last round it halts
; with interrupts off.

ROUNDS  equ 500h
TICKS   equ 504h
SECTORS equ 508h
DISK    equ 50ch                ; dword: IRQs of the disk
SUM     equ 510h
BUFFER  equ 20000h
PML4    equ 60000h
STACK   equ 7000h

KCODE   equ 08h
KDATA   equ 10h
LCODE   equ 18h
CODE16  equ 20h
DATA16  equ 28h

bits 16
org 8000h
        cli
        cld
        xor ax, ax
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov sp, STACK
        mov di, PML4 >> 4       ; identity: 2 MiB in one page
        mov es, di
        xor di, di
        mov cx, 3000h / 2
        rep stosw
        mov dword [es:0], PML4 + 1007h
        mov dword [es:1000h], PML4 + 2007h
        mov dword [es:2000h], 87h
        mov al, 36h             ; 8254: 1 kHz
        out 43h, al
        mov al, 0a9h
        out 40h, al
        mov al, 4
        out 40h, al
round:  xor ax, ax
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov sp, STACK
        mov word [20h * 4], tick16
        mov word [20h * 4 + 2], 0
        mov word [2eh * 4], disk16
        mov word [2eh * 4 + 2], 0
        mov al, 11h             ; 8259A pair: from 20h and 28h; IRQ 0, 2 and 14
        out 20h, al
        out 0a0h, al
        mov al, 20h
        out 21h, al
        mov al, 28h
        out 0a1h, al
        mov al, 4
        out 21h, al
        mov al, 2
        out 0a1h, al
        mov al, 1
        out 21h, al
        out 0a1h, al
        mov al, 0fah
        out 21h, al
        mov al, 0bfh
        out 0a1h, al
        lidt [realidt]
        mov al, 'r'
        call say
        sti
        mov bx, [TICKS]
.wait:  hlt
        mov ax, [TICKS]
        sub ax, bx
        cmp ax, 3
        jb .wait
.read:  mov dx, 3f6h            ; read a sector by IRQ 14
        xor ax, ax
        out dx, al
        mov bx, [DISK]
        mov dx, 1f2h
        mov al, 1
        out dx, al
        inc dx
        mov al, [SECTORS]
        out dx, al
        inc dx
        xor ax, ax
        out dx, al
        inc dx
        out dx, al
        inc dx
        mov al, 0e0h
        out dx, al
        inc dx
        mov al, 20h
        out dx, al
.irq:   sti
        hlt
        cmp bx, [DISK]
        je .irq
        mov ax, BUFFER >> 4
        mov es, ax
        xor di, di
        mov dx, 1f0h
        mov cx, 256
        rep insw
        cli
        lgdt [gdtr]
        mov eax, cr0
        or al, 1
        mov cr0, eax
        jmp dword KCODE:protected

bits 32
protected:
        mov ax, KDATA
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov esp, STACK
        lidt [idt32]
        mov esi, BUFFER
        mov ecx, 128
        mov eax, [SUM]
.sum:   add eax, [esi]
        rol eax, 3
        xor [esi], eax
        add esi, 4
        loop .sum
        mov [SUM], eax
        sti
        mov ebx, [TICKS]
.work:  imul eax, eax, 1103515245       ; work until two more ticks: interrupts come between any two blocks
        add eax, 12345
        test eax, 10000h
        jz .even
        add [SUM], eax
.even:  mov ecx, [TICKS]
        sub ecx, ebx
        cmp ecx, 2
        jb .work
        cli
        mov eax, cr4
        or eax, 220h            ; PAE, OSFXSR
        mov cr4, eax
        mov eax, PML4
        mov cr3, eax
        mov ecx, 0c0000080h
        rdmsr
        or ah, 1
        wrmsr
        mov eax, cr0
        or eax, 80000000h
        mov cr0, eax
        jmp LCODE:sixtyfour

bits 64
sixtyfour:
        lidt [idt64]
        mov rsp, STACK
        sti
        mov r8d, [TICKS]
        mov rax, [SUM]
        movd xmm0, eax
        fild qword [SUM]
.work:  paddd xmm0, xmm0        ; SSE and x87 are state, too
        movd ecx, xmm0
        add ecx, eax
        rdtsc
        xor [SUM], ecx
        add [SUM], eax
        fld1
        faddp
        cpuid
        mov ecx, [TICKS]
        sub ecx, r8d
        cmp ecx, 2
        jb .work
        fistp qword [BUFFER + 8]
        cli
        push CODE16
        push compat
        retfq
bits 16
compat: mov ax, DATA16
        mov ss, ax
        mov ds, ax
        mov es, ax
        mov eax, cr0
        and eax, 7fffffffh
        mov cr0, eax
        mov ecx, 0c0000080h
        rdmsr
        and ah, 0feh
        wrmsr
        mov eax, cr0
        and al, 0feh
        mov cr0, eax
        jmp 0:real
real:   xor ax, ax
        mov ds, ax
        mov ss, ax
        mov sp, STACK
        lidt [realidt]
        mov dx, 1f2h            ; write the sector, changed, a few further on
        mov al, 1
        out dx, al
        inc dx
        mov al, [SECTORS]
        add al, 64
        out dx, al
        inc dx
        xor ax, ax
        out dx, al
        inc dx
        out dx, al
        inc dx
        mov al, 0e0h
        out dx, al
        inc dx
        mov al, 30h
        out dx, al
.drq:   in al, dx
        test al, 8
        jz .drq
        mov bx, [DISK]
        mov ax, BUFFER >> 4
        mov ds, ax
        xor si, si
        mov dx, 1f0h
        mov cx, 256
        rep outsw
        xor ax, ax
        mov ds, ax
.irq:   sti
        hlt
        cmp bx, [DISK]
        je .irq
        cli
        inc word [SECTORS]
        mov ax, [SUM]
        and al, 0fh
        add al, 'A'
        call say
        dec word [ROUNDS]
        jnz round
        mov al, 10
        call say
.quiet: mov dx, 3fdh            ; until the last character is out
        in al, dx
        test al, 40h
        jz .quiet
        cli
        hlt

say:    push dx
        push ax
        mov dx, 3fdh
.full:  in al, dx
        test al, 20h
        jz .full
        pop ax
        mov dx, 3f8h
        out dx, al
        pop dx
        ret

tick16: push ax
        inc dword [cs:TICKS]
        mov al, 20h
        out 20h, al
        pop ax
        iret
disk16: push ax
        push dx
        mov dx, 1f7h
        in al, dx
        inc dword [cs:DISK]
        mov al, 20h
        out 0a0h, al
        out 20h, al
        pop dx
        pop ax
        iret
bits 32
tick32: push eax
        inc dword [TICKS]
        mov al, 20h
        out 20h, al
        pop eax
        iretd
bits 64
tick64: push rax
        inc dword [TICKS]
        mov al, 20h
        out 20h, al
        pop rax
        iretq

align 8
gdt:    dq 0
        dq 00cf9b000000ffffh
        dq 00cf93000000ffffh
        dq 00209b0000000000h
        dq 00009b000000ffffh
        dq 000093000000ffffh
gdtr:   dw $ - gdt - 1
        dd gdt
realidt: dw 3ffh
        dd 0
idt32:  dw 21h * 8 - 1
        dd gates32 - 20h * 8
idt64:  dw 21h * 16 - 1
        dq gates64 - 20h * 16
gates32: dw tick32, KCODE, 8e00h, 0
align 16
gates64: dw tick64, LCODE, 8e00h, 0, 0, 0, 0, 0
