; A BIOS of 8 KiB that runs in protected mode from its ROM below 4 GiB, where GDT, IDT and page directory are, too.
; It writes all over the ROM, which must stay as it is, and halts with interrupts off. What it has found is at 5000h:
;   0  mark     4  ROM read behind a write     8  by LOCK XADD     c  by PUSH and POP
;  10  interrupts     14  calls between RAM and ROM     18  address in an alias of the ROM     1c  sum of the ROM

RESULT  equ 5000h
COPY    equ 6000h
BASE    equ 0ffffe000h
ALIAS   equ 400000h - 0ffc00000h
ROUNDS  equ 4

%define low(label) (label - $$ + 0e000h)      ; of the copy below 1 MiB, where a reset begins

bits 16
org BASE
        cli
        cld
        o32 lgdt [cs:low(gdtr)]
        mov eax, cr0
        or al, 1
        mov cr0, eax
        jmp dword 8:protected

bits 32
protected:
        mov ax, 10h
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov esp, 7000h
        lidt [idtr]
        mov dword [RESULT], 600dh

        mov dword [word_], 12345678h
        mov eax, [word_]
        mov [RESULT + 4], eax
        mov ebx, 7
        lock xadd [word_], ebx
        mov [RESULT + 8], ebx
        mov esp, word_ + 4
        push dword 5
        pop dword [RESULT + 0ch]
        mov esp, 7000h
        mov edi, BASE           ; all of it, this instruction included
        mov ecx, 2048
        mov eax, 0f4f4f4f4h
        rep stosd
        mov [BASE - 2], eax     ; partly in front of it
        mov [BASE + 0ffeh], eax ; in two pages
        fxsave [BASE + 200h]

        int 30h
        int 30h

        mov esi, in_ram
        mov edi, COPY
        mov ecx, in_ram.end - in_ram
        rep movsb
        mov eax, COPY
        call eax

        mov eax, cr4
        or al, 10h              ; PSE
        mov cr4, eax
        mov eax, directory
        mov cr3, eax
        mov eax, cr0
        or eax, 80000000h
        mov cr0, eax
        mov eax, ALIAS + aliased
        jmp eax
aliased:
        call .here
.here:  pop dword [RESULT + 18h]
        mov dword [ALIAS + word_], 0
        mov eax, back
        jmp eax
back:   mov eax, cr0
        and eax, 7fffffffh
        mov cr0, eax

        mov edx, ROUNDS
.round: mov esi, BASE
        mov ecx, 2048
        xor eax, eax
.next:  add eax, [esi]
        mov [esi], eax
        add esi, 4
        dec ecx
        jnz .next
        dec edx
        jnz .round
        mov [RESULT + 1ch], eax
        hlt

handler:
        inc dword [RESULT + 10h]
        iret

in_ram: mov eax, in_rom
        call eax
        inc dword [RESULT + 14h]
        ret
.end:

in_rom: inc dword [RESULT + 14h]
        ret

align 8
gdt:    dq 0
        dq 00cf9a000000ffffh    ; 08h: code, not accessed yet
        dq 00cf92000000ffffh    ; 10h: data, not accessed yet
gdtr:   dw gdtr - gdt - 1
        dd gdt
gate:   dw low(handler), 8, 8e00h, 0ffffh
idtr:   dw 30h * 8 + 7
        dd gate - 30h * 8
word_:  dd 0cafef00dh

times 1000h - ($ - $$) db 0cch
directory:                      ; pages of 4 MiB, not accessed yet: RAM, the alias, the ROM
        dd 83h, 0ffc00083h
times 1ff0h - ($ - $$) db 0
bits 16
        jmp 0f000h:0e000h       ; where a reset begins: as a directory's entry it is not used
times 1ffch - ($ - $$) db 0
        dd 0ffc00083h
